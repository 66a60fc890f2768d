// Bench of the accelerator's top: executes a script, records what comes out. See script.py.
//
// Everything that happens in every clock happens here; cocotb starts the bench and waits for its
// end. SPIKEWRIGHT_TRACE is defined if the top is built with
// trace, SPIKEWRIGHT_ACTIVITY if it tells what its cores do.
//
// Plusargs: script, log, trace (files), stalls (of 65536), seed, patience (clocks); without a trace
// file, records are taken and counted, but not kept.
//
// The log has one line an event:
//   R <records>             a reset; trace records so far
//   o <byte>                a byte from the host port
//   m <clock>               that byte ended a message; clocks since the reset
//   w <clocks> <held> <records>  an awaited reply (operation U): clocks from the operation's begin to
//                           its last byte, in how many of them a byte of the host port was held;
//                           trace records so far
//   a <counts>              an image is over: clocks of each activity, core after core
//   X <code> <left>         stuck: the operation of the script and what is left of it
//   E <records>             the end; trace records in all

`timescale 1ns / 1ns

module bench #(
    parameter CORES = 1,
    parameter TRACE_BITS = 1,
    parameter TRACE_WAITS = 1  // whether a record waits until it is taken
);
    localparam ACTIVITIES = 5;
    localparam RECORD_WORDS = (TRACE_BITS + 31) / 32;
    localparam [7:0] END_BYTE = 8'hc0;

    reg clk = 0;
    reg rst = 1;
    always #1 clk = !clk;

    // Public: cocotb lets the clocks count with `go` and waits for `done`.
    reg go /*verilator public_flat_rw*/ = 0;
    reg done /*verilator public_flat_rd*/ = 0;
    reg stuck /*verilator public_flat_rd*/ = 0;
    reg [63:0] clocks /*verilator public_flat_rd*/ = 0;

    reg [7:0] i_payload = 0;
    reg i_valid = 0;
    wire i_ready;
    wire [7:0] o_payload;
    wire o_valid;
    reg o_ready = 0;
    wire [TRACE_BITS-1:0] trace_payload;
    wire trace_valid;
    reg trace_ready = 0;
    wire trace_taken = trace_valid && (trace_ready || TRACE_WAITS == 0);
    wire [3*CORES-1:0] activity;
    wire busy;

    spikewright_top dut (
        .clk(clk),
        .rst(rst),
        .i__payload(i_payload),
        .i__valid(i_valid),
        .i__ready(i_ready),
        .o__payload(o_payload),
        .o__valid(o_valid),
`ifdef SPIKEWRIGHT_TRACE
        .trace__payload(trace_payload),
        .trace__valid(trace_valid),
        .trace__ready(trace_ready),
`endif
`ifdef SPIKEWRIGHT_ACTIVITY
        .activity(activity),
        .busy(busy),
`endif
        .o__ready(o_ready)
    );
`ifndef SPIKEWRIGHT_TRACE
    assign trace_payload = 0;
    assign trace_valid = 0;
`endif
`ifndef SPIKEWRIGHT_ACTIVITY
    assign activity = 0;
    assign busy = 0;
`endif

    reg [8*1024-1:0] path;
    integer script_file, log_file, trace_file;
    integer stalls, seed;
    reg [63:0] patience;
    initial begin
        if (!$value$plusargs("script=%s", path)) $fatal(1, "no +script");
        script_file = $fopen(path, "rb");
        if (!$value$plusargs("log=%s", path)) $fatal(1, "no +log");
        log_file = $fopen(path, "w");
        trace_file = 0;
        if ($value$plusargs("trace=%s", path)) begin
            trace_file = $fopen(path, "wb");
            if (trace_file == 0) $fatal(1, "the trace file does not open");
        end
        if (!$value$plusargs("stalls=%d", stalls)) stalls = 0;
        if (!$value$plusargs("seed=%d", seed)) seed = 1;
        if (!$value$plusargs("patience=%d", patience)) patience = 1000000;
        random = {32'h9e3779b9, seed ^ 32'h5bd1e995};
        if (script_file == 0 || log_file == 0) $fatal(1, "the script or the log does not open");
    end

    // xorshift64 (Marsaglia 2003).
    reg [63:0] random;
    task draw;
        begin
            random = random ^ (random << 13);
            random = random ^ (random >> 7);
            random = random ^ (random << 17);
        end
    endtask

    // ------------------------------------------------------------------------ script and sending

    reg [7:0] code = 0;  // of the operation under way, 0: fetch the next
    integer left = 0;
    integer replies = 0;
    reg [63:0] silence = 0;
    reg [15:0] head = 0;  // the first two bytes of a reply, and how many have come
    integer head_bytes = 0;
    reg met = 0;  // of operation U: its reply has come
    integer waited = 0, held = 0;
    integer stalled = 0;  // clocks in which the host port did not take a byte

    integer character;
    task fetch;
        begin
            character = $fgetc(script_file);
            if (character < 0) finish(0);
            else begin
                code = character[7:0];
                left[7:0] = 8'($fgetc(script_file));
                left[15:8] = 8'($fgetc(script_file));
                left[23:16] = 8'($fgetc(script_file));
                left[31:24] = 8'($fgetc(script_file));
            end
        end
    endtask

    task finish(input failed);
        begin
            $fwrite(log_file, "E %0d\n", records);
            $fclose(script_file);
            $fclose(log_file);
            if (trace_file != 0) $fclose(trace_file);
            stuck <= failed;
            done <= 1;
        end
    endtask

    // ------------------------------------------------------------------------------- observation

    reg was_busy = 0;
    reg in_message = 0;
    integer epoch_clock = 0;
    integer records = 0;
    integer counts[0:CORES*ACTIVITIES-1];
    integer n;

    task record;
        reg [32*RECORD_WORDS-1:0] padded;
        begin
            padded = trace_payload;
            if (trace_file != 0)
                for (n = 0; n < RECORD_WORDS; n = n + 1) $fwrite(trace_file, "%u", padded[32*n+:32]);
            records = records + 1;
        end
    endtask

    task observe_byte;
        begin
            $fwrite(log_file, "o %h\n", o_payload);
            if (o_payload != END_BYTE) begin
                in_message = 1;
                if (head_bytes < 2) head = {head[7:0], o_payload};
                head_bytes = head_bytes + 1;
            end else if (in_message) begin
                in_message = 0;
                head_bytes = 0;
                replies = replies + 1;
                $fwrite(log_file, "m %0d\n", epoch_clock);
                if (code == "U" && left[15:0] == head) met = 1;
            end
        end
    endtask

    task observe_activity;
        begin
            if (busy)
                for (n = 0; n < CORES; n = n + 1)
                    counts[n*ACTIVITIES + {29'b0, activity[3*n+:3]}] =
                        counts[n*ACTIVITIES + {29'b0, activity[3*n+:3]}] + 1;
            else if (was_busy) begin
                $fwrite(log_file, "a");
                for (n = 0; n < CORES * ACTIVITIES; n = n + 1) begin
                    $fwrite(log_file, " %0d", counts[n]);
                    counts[n] = 0;
                end
                $fwrite(log_file, "\n");
            end
            was_busy = busy;
        end
    endtask

    task begin_epoch;
        begin
            $fwrite(log_file, "R %0d\n", records);
            for (n = 0; n < CORES * ACTIVITIES; n = n + 1) counts[n] = 0;
            was_busy = 0;
            in_message = 0;
            head_bytes = 0;
            replies = 0;
            epoch_clock = 0;
        end
    endtask

    // --------------------------------------------------------------------------------- each clock

    always @(posedge clk) if (go && !done) begin
        draw;
        clocks <= clocks + 1;
        epoch_clock = epoch_clock + 1;
        silence = silence + 1;
        waited = waited + 1;
        stalled = i_valid && !i_ready ? stalled + 1 : 0;
        if (o_valid && !o_ready) held = held + 1;
        o_ready <= {16'b0, random[15:0]} >= stalls;
        trace_ready <= {16'b0, random[31:16]} >= stalls;

        if (!rst) begin
            if (o_valid && o_ready) observe_byte;
            if (trace_taken) record;
            if (o_valid && o_ready || trace_taken || i_valid && i_ready) silence = 0;
            observe_activity;
        end

        if (code == 0 && (!i_valid || i_ready)) begin
            fetch;
            silence = 0;
            waited = 0;
            held = 0;
            met = 0;
            if (code == "R") begin_epoch;
        end
        rst <= code == "R";
        if (i_ready) i_valid <= 0;
        case (code)
            "S":
                if (left > 0 && (!i_valid || i_ready) && {16'b0, random[47:32]} >= stalls) begin
                    i_payload <= 8'($fgetc(script_file));
                    i_valid <= 1;
                    left = left - 1;
                end
            "R", "W": begin
                silence = 0;
                left = left - 1;
            end
            "B": if (busy) left = left - 1;
            "A": if (replies >= left) left = 0;
            "U":
                if (met) begin
                    $fwrite(log_file, "w %0d %0d %0d\n", waited, held, records);
                    left = 0;
                end
            default: ;
        endcase
        if (left <= 0) code = 0;
        // Trace records are no sign of life where the host waits for something else.
        if (silence > patience || TRACE_WAITS == 0 && {32'b0, stalled} > patience
                || code == "U" && {32'b0, waited} > patience) begin
            $fwrite(log_file, "X %s %0d\n", code, left);
            finish(1);
        end
    end
endmodule
