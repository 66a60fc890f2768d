"""Small circuits that a family of FPGAs has better than what synthesis infers, with portable twins.

A component asks the platform that it is elaborated for (:func:`.family.has_ecp5_cells`), so that
everything above it is one design: Verilog for any flow and simulation take the portable form.
"""
