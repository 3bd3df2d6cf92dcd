"""The networks, one file each; a file here imports torch and nothing of ours."""
