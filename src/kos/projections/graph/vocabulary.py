"""Cypher's words: which can't be the name of anything here, and which functions a tenant may call."""

from __future__ import annotations

_WORDS = """
    ADD ALL ALLSHORTESTPATHS ALTER AND ANY AS ASC ASCENDING BY CALL CASE CONTAINS CREATE CSV CYPHER DEFINE DELETE DESC
    DESCENDING DETACH DISTINCT DROP ELSE END ENDS EXISTS EXPLAIN FALSE FILTER FINISH FOR FOREACH FROM GRANT IN INSERT IS
    LET LIMIT LOAD MATCH MERGE NEXT NODETACH NONE NOT NULL OFFSET ON OPTIONAL OR ORDER PROFILE REDUCE REMOVE RETURN
    REVOKE SEARCH SET SHORTEST SHORTESTPATH SHOW SINGLE SKIP STARTS TERMINATE THEN TRUE UNION UNWIND USE USING WHEN
    WHERE WITH XOR YIELD
"""
WORDS = frozenset(_WORDS.split())
"""Neither server needs all of them kept free; but a variable of such a name could be read in two ways."""

_FUNCTIONS = """
    abs acos asin atan atan2 avg btrim ceil char_length character_length coalesce collect cos cot count degrees e
    elementid endnode exists exp floor haversin head id isempty isnan keys labels last left length log log10 lower ltrim
    max min nodes normalize nullif percentilecont percentiledisc pi point point.distance point.withinbbox properties
    radians rand range relationships replace reverse right round rtrim sign sin size split sqrt startnode stdev stdevp
    substring sum tail tan timestamp toboolean tobooleanlist tobooleanornull tofloat tofloatlist tofloatornull tointeger
    tointegerlist tointegerornull tolower tostring tostringlist tostringornull toupper trim type upper valuetype
    date date.realtime date.statement date.transaction date.truncate
    datetime datetime.fromepoch datetime.fromepochmillis datetime.realtime datetime.statement datetime.transaction
    datetime.truncate duration duration.between duration.indays duration.inmonths duration.inseconds
    localdatetime localdatetime.realtime localdatetime.statement localdatetime.transaction localdatetime.truncate
    localtime localtime.realtime localtime.statement localtime.transaction localtime.truncate
    time time.realtime time.statement time.transaction time.truncate
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())
"""Those that reach nothing but their arguments (and the clock). From an edge to its ends one stays in its scope."""

PATHS = ("SHORTESTPATH", "ALLSHORTESTPATHS")
