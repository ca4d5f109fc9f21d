"""How a layer's virtual environment is locked, built, checked and explained."""
