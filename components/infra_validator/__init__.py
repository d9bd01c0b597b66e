"""InfraValidator: the candidate answers real requests in a fresh process before it may be pushed."""
