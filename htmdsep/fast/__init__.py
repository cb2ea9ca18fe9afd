"""HTMD-Net for the processor: the eager network's results, in folded weights and reused buffers."""
