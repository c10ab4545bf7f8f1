//! Pure: CSR + identity + now become a chain; roots, intermediates, rotation rules.
