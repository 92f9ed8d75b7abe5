"""From judgements and searches to training rows: DPO pairs for the actor, conversations for the refiner."""
