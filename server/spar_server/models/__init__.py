"""The models being served: actor and refiner, from any engine."""
