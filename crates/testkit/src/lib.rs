//! Dev only: fixtures, scripted ADS peer, config walker, the tidy test.
