//! Pure: the objects of N clusters become (Snapshot, Problems).
