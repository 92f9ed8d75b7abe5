"""How refined pairs and interfering ones teach: two synthetic tasks along the steps of DPO (arXiv 2412.11605)."""
