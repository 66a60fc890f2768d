"""The host port: executes the requests of :mod:`spikewright.machine.link`, none of which waits.

::

    i -> SlipDecoder -> Receiver -> Executor --> load, abort, start
                                    |    \\----> FrameFeeder -> frame
                                    v
    o <- SlipEncoder <----------- Sender <------ answers: label, clocks, readout
"""
