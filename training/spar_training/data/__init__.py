"""Turn judgements and searches into training rows: DPO pairs for the actor, conversations for the refiner."""
