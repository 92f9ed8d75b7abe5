"""What the engines that run models in this process have in common. Loads neither torch nor OpenVINO."""
