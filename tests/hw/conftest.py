from amaranth.hdl import Elaboratable

# A component whose constructor refuses its parameters is never elaborated; Amaranth would warn.
Elaboratable._MustUse__silence = True
