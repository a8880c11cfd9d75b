# gnuplot best_so_far.gp draws best_so_far.svg and best_so_far.png from best_so_far.tsv
set datafile separator tab
set encoding utf8
set title 'Best accuracy found so far, by number format' noenhanced
set xlabel 'trial number' noenhanced
set ylabel 'best validation accuracy so far' noenhanced
set key outside right top Left reverse noenhanced
set grid lt 1 lw 1 lc rgb '#E4E4E4'
set border 3
set tics nomirror
set autoscale xfix
set offsets 0, 0, graph 0.05, graph 0.05
set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'
set output 'best_so_far.svg'
plot 'best_so_far.tsv' every ::1::1 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 1 title 'none', \
     'best_so_far.tsv' every ::2::11 using 2:3 with linespoints lc rgb '#CC6677' dt 2 lw 2 pt 5 ps 0.8 pi 1 title 'integer', \
     'best_so_far.tsv' every ::12::21 using 2:3 with linespoints lc rgb '#117733' dt 4 lw 2 pt 9 ps 0.8 pi 1 title 'minifloat_denorm', \
     'best_so_far.tsv' every ::22::31 using 2:3 with linespoints lc rgb '#DDAA33' dt 1 lw 2 pt 13 ps 0.8 pi 1 title 'minifloat_ieee', \
     'best_so_far.tsv' every ::32::41 using 2:3 with linespoints lc rgb '#88CCEE' dt 2 lw 2 pt 11 ps 0.8 pi 1 title 'log', \
     'best_so_far.tsv' every ::42::51 using 2:3 with linespoints lc rgb '#882255' dt 4 lw 2 pt 6 ps 0.8 pi 1 title 'block_fp', \
     'best_so_far.tsv' every ::52::61 using 2:3 with linespoints lc rgb '#44AA99' dt 1 lw 2 pt 4 ps 0.8 pi 1 title 'block_minifloat', \
     'best_so_far.tsv' every ::62::71 using 2:3 with linespoints lc rgb '#EE7733' dt 2 lw 2 pt 8 ps 0.8 pi 1 title 'block_log', \
     'best_so_far.tsv' every ::72::81 using 2:3 with linespoints lc rgb '#AA4499' dt 4 lw 2 pt 12 ps 0.8 pi 1 title 'binary', \
     'best_so_far.tsv' every ::82::91 using 2:3 with linespoints lc rgb '#999933' dt 1 lw 2 pt 10 ps 0.8 pi 1 title 'binary_residual', \
     'best_so_far.tsv' every ::92::101 using 2:3 with linespoints lc rgb '#0077BB' dt 2 lw 2 pt 2 ps 0.8 pi 1 title 'mxint_hardware', \
     'best_so_far.tsv' every ::102::111 using 2:3 with linespoints lc rgb '#777777' dt 4 lw 2 pt 1 ps 0.8 pi 1 title 'mxfp', \
     'best_so_far.tsv' every ::112::121 using 2:3 with linespoints lc rgb '#332288' dt 2 lw 2 pt 6 ps 0.8 pi 1 title 'mxint', \
     'best_so_far.tsv' every ::122::131 using 2:3 with linespoints lc rgb '#CC6677' dt 4 lw 2 pt 4 ps 0.8 pi 1 title 'nvfp4', \
     'best_so_far.tsv' every ::132::141 using 2:3 with linespoints lc rgb '#117733' dt 1 lw 2 pt 8 ps 0.8 pi 1 title 'scaled_integer', \
     'best_so_far.tsv' every ::142::151 using 2:3 with linespoints lc rgb '#DDAA33' dt 2 lw 2 pt 12 ps 0.8 pi 1 title 'binary_scaled', \
     'best_so_far.tsv' every ::152::161 using 2:3 with linespoints lc rgb '#88CCEE' dt 4 lw 2 pt 10 ps 0.8 pi 1 title 'ternary', \
     'best_so_far.tsv' every ::162::171 using 2:3 with linespoints lc rgb '#882255' dt 1 lw 2 pt 2 ps 0.8 pi 1 title 'binary_scaling', \
     'best_so_far.tsv' every ::172::173 using 2:3 with lines lc rgb 'black' dt 4 lw 2 title 'float32 (control)'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'best_so_far.png'
plot 'best_so_far.tsv' every ::1::1 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 1 title 'none', \
     'best_so_far.tsv' every ::2::11 using 2:3 with linespoints lc rgb '#CC6677' dt 2 lw 2 pt 5 ps 0.8 pi 1 title 'integer', \
     'best_so_far.tsv' every ::12::21 using 2:3 with linespoints lc rgb '#117733' dt 4 lw 2 pt 9 ps 0.8 pi 1 title 'minifloat_denorm', \
     'best_so_far.tsv' every ::22::31 using 2:3 with linespoints lc rgb '#DDAA33' dt 1 lw 2 pt 13 ps 0.8 pi 1 title 'minifloat_ieee', \
     'best_so_far.tsv' every ::32::41 using 2:3 with linespoints lc rgb '#88CCEE' dt 2 lw 2 pt 11 ps 0.8 pi 1 title 'log', \
     'best_so_far.tsv' every ::42::51 using 2:3 with linespoints lc rgb '#882255' dt 4 lw 2 pt 6 ps 0.8 pi 1 title 'block_fp', \
     'best_so_far.tsv' every ::52::61 using 2:3 with linespoints lc rgb '#44AA99' dt 1 lw 2 pt 4 ps 0.8 pi 1 title 'block_minifloat', \
     'best_so_far.tsv' every ::62::71 using 2:3 with linespoints lc rgb '#EE7733' dt 2 lw 2 pt 8 ps 0.8 pi 1 title 'block_log', \
     'best_so_far.tsv' every ::72::81 using 2:3 with linespoints lc rgb '#AA4499' dt 4 lw 2 pt 12 ps 0.8 pi 1 title 'binary', \
     'best_so_far.tsv' every ::82::91 using 2:3 with linespoints lc rgb '#999933' dt 1 lw 2 pt 10 ps 0.8 pi 1 title 'binary_residual', \
     'best_so_far.tsv' every ::92::101 using 2:3 with linespoints lc rgb '#0077BB' dt 2 lw 2 pt 2 ps 0.8 pi 1 title 'mxint_hardware', \
     'best_so_far.tsv' every ::102::111 using 2:3 with linespoints lc rgb '#777777' dt 4 lw 2 pt 1 ps 0.8 pi 1 title 'mxfp', \
     'best_so_far.tsv' every ::112::121 using 2:3 with linespoints lc rgb '#332288' dt 2 lw 2 pt 6 ps 0.8 pi 1 title 'mxint', \
     'best_so_far.tsv' every ::122::131 using 2:3 with linespoints lc rgb '#CC6677' dt 4 lw 2 pt 4 ps 0.8 pi 1 title 'nvfp4', \
     'best_so_far.tsv' every ::132::141 using 2:3 with linespoints lc rgb '#117733' dt 1 lw 2 pt 8 ps 0.8 pi 1 title 'scaled_integer', \
     'best_so_far.tsv' every ::142::151 using 2:3 with linespoints lc rgb '#DDAA33' dt 2 lw 2 pt 12 ps 0.8 pi 1 title 'binary_scaled', \
     'best_so_far.tsv' every ::152::161 using 2:3 with linespoints lc rgb '#88CCEE' dt 4 lw 2 pt 10 ps 0.8 pi 1 title 'ternary', \
     'best_so_far.tsv' every ::162::171 using 2:3 with linespoints lc rgb '#882255' dt 1 lw 2 pt 2 ps 0.8 pi 1 title 'binary_scaling', \
     'best_so_far.tsv' every ::172::173 using 2:3 with lines lc rgb 'black' dt 4 lw 2 title 'float32 (control)'
