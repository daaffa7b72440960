"""One model on benchmarks: asked, stored like a run, summed up beside what blindness earns; and again from the rows."""
