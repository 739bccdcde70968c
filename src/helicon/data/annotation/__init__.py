"""What is known of the positions of a genome: GFF3, GTF, BED, tracks."""
