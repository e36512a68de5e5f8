//! MISP's REST API, as a judge that is asked: it knows HTTP and MISP's answers, no ledger and no
//! STIX.
