"""What all Python adapters share: the protocol's loop, two embedders, servers as children.

An adapter is a folder beside this one whose `adapter.py` puts the parent folder on
`sys.path` and imports from here. Everything but the sentence model is standard library.
"""
