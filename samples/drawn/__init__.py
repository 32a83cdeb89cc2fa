"""The kinds of drawn pictures that make_drawn_pictures.py writes; `kinds` is the list of them.

A kind is a function of a generator of random numbers and the side in pixels (64 or more) that returns
uint8 [side, side, 3], RGB in grey levels 0..255; in about half of the pictures the three channels are equal.
numpy and Pillow draw all, and the fonts are those that Pillow brings, so that no picture depends on what a
machine has installed.
"""
