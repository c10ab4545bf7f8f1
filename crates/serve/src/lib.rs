//! Sans-IO ADS stream machine with a tonic shell; CA service; authentication.
