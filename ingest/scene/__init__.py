"""Drawn street scenes: a camera, a street, its people and vehicles, and a script of events.

Everything is a pure function of the address and of the time in the scene, so that frames can be
drawn in any order and the same address gives the same pictures.
"""
