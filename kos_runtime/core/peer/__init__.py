"""Peers: machines that are processes of their own, with a stream of their own for a disk."""
