"""Jobs on a SLURM cluster, through submitit."""
