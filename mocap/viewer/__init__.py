"""Seeing the motion: pure geometry (`scene`), pictures and videos (`render`), a window (`window`), overlays."""
