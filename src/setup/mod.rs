//! What a service manager needs of us on disk: units or agents for this program, wherever it lives, and the secrets
//! that they hand over. Written, compared and removed here; nothing here prints.
