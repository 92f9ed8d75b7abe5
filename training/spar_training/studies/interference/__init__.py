"""The study of refined and interfering pairs: two synthetic tasks along the steps of DPO (arXiv 2412.11605)."""
