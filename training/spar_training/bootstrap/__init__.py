"""Build a tokenizer and a base model from nothing, and fine-tune the actor and the refiner from it."""
