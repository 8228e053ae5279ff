"""What a checkpoint is made of: how its JSON is read, and how its control plane is spelled."""
