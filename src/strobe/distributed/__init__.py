"""Several processes that train one model: started, brought together, watched."""
