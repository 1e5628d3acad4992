"""Real data to try things with.

Promise: a dataset is verified before anything is written; a load that was killed is finished by loading again or
taken back, and loading twice changes nothing.

Words: a *dataset* is real data that an installed Python package holds; *loading* it puts its rows and objects into a
tenant.
"""

from kos.knowledge.samples.dataset import Dataset
from kos.knowledge.samples.load import Loaded, load_sample, run_load
from kos.knowledge.samples.plan import LoadPlan, list_datasets, plan_load

__all__ = ["Dataset", "LoadPlan", "Loaded", "list_datasets", "load_sample", "plan_load", "run_load"]
