"""Labels in the formats of annotation tools: CVAT, Label Studio, COCO."""
