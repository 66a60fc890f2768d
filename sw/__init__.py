"""From a torch module to integers on cores: front end, conversion, quantiser, mapper, training."""
