"""Many songs: find them, plan their stems, resume where a run ended, record what is done."""
