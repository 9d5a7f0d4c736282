"""Elastic layers: every one takes the part to run as `sub=`."""
