"""Feeds over HTTP: a consumer in another language, or on another machine, without a login of the database.

Promise: a consumer gets whole transactions of its own tenants and moves its own feed's cursors, and nothing else.
While it does not read, no session of the database waits for it, and no more than one page of its events is in memory.

Words: *feed*, *cursor*, *consumer*: see `docs/glossary.md`.
"""
