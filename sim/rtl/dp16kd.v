// Behaviour of the ECP5's block RAM: one clock, output registers only behind the port that reads.
//
// A read of a word that the other port writes in the same clock gives garbage, and two writes of
// one word store garbage: the FPGA promises nothing there, and Yosys was told that nobody looks.
// What is not modelled stops the simulation. (Lattice FPGA-TN-02204, ECP5 memory usage guide.)

`timescale 1ns / 1ns

module DP16KD #(
    parameter integer DATA_WIDTH_A = 18,
    parameter integer DATA_WIDTH_B = 18,
    parameter REGMODE_A = "NOREG",
    parameter REGMODE_B = "NOREG",
    parameter RESETMODE = "SYNC",
    parameter ASYNC_RESET_RELEASE = "SYNC",
    parameter CSDECODE_A = "0b000",
    parameter CSDECODE_B = "0b000",
    parameter WRITEMODE_A = "NORMAL",
    parameter WRITEMODE_B = "NORMAL",
    parameter CLKAMUX = "CLKA",
    parameter CLKBMUX = "CLKB",
    parameter CEAMUX = "CEA",
    parameter CEBMUX = "CEB",
    parameter WEAMUX = "WEA",
    parameter WEBMUX = "WEB",
    parameter RSTAMUX = "RSTA",
    parameter RSTBMUX = "RSTB",
    parameter [319:0] INITVAL_00 = 0,
    parameter [319:0] INITVAL_01 = 0,
    parameter [319:0] INITVAL_02 = 0,
    parameter [319:0] INITVAL_03 = 0,
    parameter [319:0] INITVAL_04 = 0,
    parameter [319:0] INITVAL_05 = 0,
    parameter [319:0] INITVAL_06 = 0,
    parameter [319:0] INITVAL_07 = 0,
    parameter [319:0] INITVAL_08 = 0,
    parameter [319:0] INITVAL_09 = 0,
    parameter [319:0] INITVAL_0A = 0,
    parameter [319:0] INITVAL_0B = 0,
    parameter [319:0] INITVAL_0C = 0,
    parameter [319:0] INITVAL_0D = 0,
    parameter [319:0] INITVAL_0E = 0,
    parameter [319:0] INITVAL_0F = 0,
    parameter [319:0] INITVAL_10 = 0,
    parameter [319:0] INITVAL_11 = 0,
    parameter [319:0] INITVAL_12 = 0,
    parameter [319:0] INITVAL_13 = 0,
    parameter [319:0] INITVAL_14 = 0,
    parameter [319:0] INITVAL_15 = 0,
    parameter [319:0] INITVAL_16 = 0,
    parameter [319:0] INITVAL_17 = 0,
    parameter [319:0] INITVAL_18 = 0,
    parameter [319:0] INITVAL_19 = 0,
    parameter [319:0] INITVAL_1A = 0,
    parameter [319:0] INITVAL_1B = 0,
    parameter [319:0] INITVAL_1C = 0,
    parameter [319:0] INITVAL_1D = 0,
    parameter [319:0] INITVAL_1E = 0,
    parameter [319:0] INITVAL_1F = 0,
    parameter [319:0] INITVAL_20 = 0,
    parameter [319:0] INITVAL_21 = 0,
    parameter [319:0] INITVAL_22 = 0,
    parameter [319:0] INITVAL_23 = 0,
    parameter [319:0] INITVAL_24 = 0,
    parameter [319:0] INITVAL_25 = 0,
    parameter [319:0] INITVAL_26 = 0,
    parameter [319:0] INITVAL_27 = 0,
    parameter [319:0] INITVAL_28 = 0,
    parameter [319:0] INITVAL_29 = 0,
    parameter [319:0] INITVAL_2A = 0,
    parameter [319:0] INITVAL_2B = 0,
    parameter [319:0] INITVAL_2C = 0,
    parameter [319:0] INITVAL_2D = 0,
    parameter [319:0] INITVAL_2E = 0,
    parameter [319:0] INITVAL_2F = 0,
    parameter [319:0] INITVAL_30 = 0,
    parameter [319:0] INITVAL_31 = 0,
    parameter [319:0] INITVAL_32 = 0,
    parameter [319:0] INITVAL_33 = 0,
    parameter [319:0] INITVAL_34 = 0,
    parameter [319:0] INITVAL_35 = 0,
    parameter [319:0] INITVAL_36 = 0,
    parameter [319:0] INITVAL_37 = 0,
    parameter [319:0] INITVAL_38 = 0,
    parameter [319:0] INITVAL_39 = 0,
    parameter [319:0] INITVAL_3A = 0,
    parameter [319:0] INITVAL_3B = 0,
    parameter [319:0] INITVAL_3C = 0,
    parameter [319:0] INITVAL_3D = 0,
    parameter [319:0] INITVAL_3E = 0,
    parameter [319:0] INITVAL_3F = 0,
    parameter GSR = "ENABLED"
) (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5,
    DIA4, DIA3, DIA2, DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1,
    ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5,
    DOA4, DOA3, DOA2, DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5,
    DIB4, DIB3, DIB2, DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1,
    ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5,
    DOB4, DOB3, DOB2, DOB1, DOB0
);
    localparam [64*320-1:0] INITIAL = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39,
        INITVAL_38, INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32,
        INITVAL_31, INITVAL_30, INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B,
        INITVAL_2A, INITVAL_29, INITVAL_28, INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24,
        INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20, INITVAL_1F, INITVAL_1E, INITVAL_1D,
        INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18, INITVAL_17, INITVAL_16,
        INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10, INITVAL_0F,
        INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01,
        INITVAL_00
    };

    // Nine-bit bytes; narrow ports use eight bits of each.
    reg [8:0] bytes[0:2047];
    integer n;
    initial begin
        for (n = 0; n < 2048; n = n + 1) bytes[n] = INITIAL[n/2*20 + n%2*9 +: 9];
        if (REGMODE_A != "NOREG") $fatal(1, "DP16KD: output register of port A");
        if (REGMODE_B == "OUTREG" && DATA_WIDTH_B == 36) $fatal(1, "DP16KD: wide register");
        if (CLKAMUX != "CLKA" || CLKBMUX != "CLKB") $fatal(1, "DP16KD: inverted clock");
        if (CEAMUX != "CEA" || CEBMUX != "CEB" || WEAMUX != "WEA" || WEBMUX != "WEB")
            $fatal(1, "DP16KD: inverted enable");
        if (RSTAMUX != "RSTA" || RSTBMUX != "RSTB") $fatal(1, "DP16KD: inverted reset");
        if (WRITEMODE_A == "WRITETHROUGH" || WRITEMODE_B == "WRITETHROUGH")
            $fatal(1, "DP16KD: write mode");
        if (DATA_WIDTH_A == 36 && WEB) $fatal(1, "DP16KD: two ports write, one of 36 bits");
    end

    wire [35:0] dia = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6,
        DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6,
        DIA5, DIA4, DIA3, DIA2, DIA1, DIA0
    };
    wire [35:0] dib = {
        18'b0,
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6,
        DIB5, DIB4, DIB3, DIB2, DIB1, DIB0
    };
    wire [13:0] ada = {
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1,
        ADA0
    };
    wire [13:0] adb = {
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1,
        ADB0
    };
    wire selected_a = {CSA2, CSA1, CSA0} == 0;
    wire selected_b = {CSB2, CSB1, CSB0} == 0;

    // The 36-bit word at an address, and the bits of it that a port of a width sees.
    function [35:0] word(input [13:0] address);
        word = {
            bytes[{address[13:5], 2'd3}], bytes[{address[13:5], 2'd2}],
            bytes[{address[13:5], 2'd1}], bytes[{address[13:5], 2'd0}]
        };
    endfunction

    function integer offset(input integer width, input [13:0] address);
        case (width)
            36: offset = 0;
            18: offset = 18 * address[4];
            9: offset = 9 * address[4:3];
            4: offset = 9 * address[4:3] + 4 * address[2];
            2: offset = 9 * address[4:3] + 2 * address[2:1];
            default: offset = 9 * address[4:3] + address[2:0];
        endcase
    endfunction

    function [35:0] mask(input integer width, input [13:0] address);
        mask = (36'hfffffffff >> (36 - width)) << offset(width, address);
    endfunction

    // Which bits a port writes: wide ports have byte enables in their low address bits.
    function [35:0] written(input integer width, input [13:0] address);
        case (width)
            36: written = {{9{address[3]}}, {9{address[2]}}, {9{address[1]}}, {9{address[0]}}};
            18: written = {18'b0, {9{address[1]}}, {9{address[0]}}} << offset(18, address);
            default: written = mask(width, address);
        endcase
    endfunction

    reg [35:0] read_a, read_b;
    wire writing_a = CEA && WEA && selected_a;
    wire writing_b = CEB && WEB && selected_b;
    wire [35:0] written_a = writing_a ? written(DATA_WIDTH_A, ada) : 0;
    wire [35:0] written_b = writing_b ? written(DATA_WIDTH_B, adb) : 0;
    wire [35:0] placed_a = dia << offset(DATA_WIDTH_A, ada);
    wire [35:0] placed_b = dib << offset(DATA_WIDTH_B, adb);
    wire same_word = ada[13:5] == adb[13:5];

    function [35:0] garbage(input [35:0] unused);
        garbage = {$urandom, 4'b0} ^ {4'b0, $urandom};
    endfunction

    task store(input [13:0] address, input [35:0] data, input [35:0] bits);
        for (n = 0; n < 4; n = n + 1)
            bytes[{address[13:5], n[1:0]}] <=
                bytes[{address[13:5], n[1:0]}] & ~bits[9*n+:9] | data[9*n+:9] & bits[9*n+:9];
    endtask

    // Both ports in one process, for the design has one clock.
    always @(posedge CLKA) begin
        if (same_word && (written_a & written_b) != 0)
            store(ada, garbage(0), written_a | written_b);
        else if (same_word && writing_a && writing_b)
            store(ada, placed_a & written_a | placed_b & written_b, written_a | written_b);
        else begin
            if (writing_a) store(ada, placed_a, written_a);
            if (writing_b) store(adb, placed_b, written_b);
        end
        if (RSTA) read_a <= 0;
        else if (CEA && (!WEA || WRITEMODE_A == "READBEFOREWRITE") && selected_a)
            if (same_word && (written_b & mask(DATA_WIDTH_A, ada)) != 0) read_a <= garbage(0);
            else read_a <= (word(ada) & mask(DATA_WIDTH_A, ada)) >> offset(DATA_WIDTH_A, ada);
        if (RSTB) read_b <= 0;
        else if (CEB && (!WEB || WRITEMODE_B == "READBEFOREWRITE") && selected_b)
            if (same_word && (written_a & mask(DATA_WIDTH_B, adb)) != 0) read_b <= garbage(0);
            else read_b <= (word(adb) & mask(DATA_WIDTH_B, adb)) >> offset(DATA_WIDTH_B, adb);
    end

    reg [17:0] output_b;
    always @(posedge CLKB) if (RSTB) output_b <= 0; else if (OCEB) output_b <= read_b[17:0];

    // Port B puts a word of 36 bits on both outputs, and a narrower one on its own.
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6,
        DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
    } = DATA_WIDTH_B == 36 ? read_b[35:18] : REGMODE_B == "OUTREG" ? output_b : read_b[17:0];
    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6,
        DOA5, DOA4, DOA3, DOA2, DOA1, DOA0
    } = DATA_WIDTH_B == 36 ? read_b[17:0] : read_a[17:0];
endmodule
