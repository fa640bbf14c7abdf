"""Webhooks: telling other systems that a job has ended, signed as the Standard Webhooks specification says."""
