"""Batches that can be stopped, gone on with, cut into shards, and spread over machines."""
