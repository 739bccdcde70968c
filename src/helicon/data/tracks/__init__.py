"""Values along a genome: bigWig and bedGraph."""
