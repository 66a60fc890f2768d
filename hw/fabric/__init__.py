"""What joins the cores to a machine: load chain, records, router, sequencer and readout.

All that goes to or from every core is a chain with one node a core, so that no net has a high
fan-out. Core 0 is next to the sequencer. The load chain and the broadcast go from core 0 upwards,
one core a clock each, the collect chain comes down:

    sequencer --> load node 0 --> load node 1 --> ...         records, RUN, FRAME, memories
    received[0] --> received[1] --> ...                       words for the spike memories
        ^-- frame <-- collect 0 <-- collect 1 <-- ...         words, and `done` behind

So what the sequencer sends after the last word has passed the head of the broadcast stays behind
it at every core, and nothing need come back from the far end.
"""
