//! Pure: pod + settings become a patch.
