"""Fires what is due: decides occurrences, sends their messages, rescues what silent workers held."""
