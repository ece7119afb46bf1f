"""Tables of predictions in the formats of other programs: Darwin Core, IFCB, PANGAEA."""
