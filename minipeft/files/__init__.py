"""Files in and out: safetensors, GPT-2 checkpoints, tokenizers, the hub, adapters."""
