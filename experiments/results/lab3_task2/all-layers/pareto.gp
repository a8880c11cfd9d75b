# gnuplot pareto.gp draws pareto.svg and pareto.png from pareto.tsv
set datafile separator tab
set encoding utf8
set title 'What accuracy each size buys' noenhanced
set xlabel 'average bits per Linear weight, shared exponents and scales counted' noenhanced
set ylabel 'validation accuracy' noenhanced
set key outside right top Left reverse noenhanced
set grid lt 1 lw 1 lc rgb '#E4E4E4'
set border 3
set tics nomirror
set autoscale xfix
set offsets 0, 0, graph 0.05, graph 0.05
set logscale x 2
set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'
set output 'pareto.svg'
plot 'pareto.tsv' every ::1::1 using 2:3 with points lc rgb '#80332288' pt 7 ps 0.8 title 'none', \
     'pareto.tsv' every ::2::11 using 2:3 with points lc rgb '#80CC6677' pt 5 ps 0.8 title 'integer', \
     'pareto.tsv' every ::12::21 using 2:3 with points lc rgb '#80117733' pt 9 ps 0.8 title 'minifloat_denorm', \
     'pareto.tsv' every ::22::31 using 2:3 with points lc rgb '#80DDAA33' pt 13 ps 0.8 title 'minifloat_ieee', \
     'pareto.tsv' every ::32::40 using 2:3 with points lc rgb '#8088CCEE' pt 11 ps 0.8 title 'log', \
     'pareto.tsv' every ::41::50 using 2:3 with points lc rgb '#80882255' pt 6 ps 0.8 title 'block_fp', \
     'pareto.tsv' every ::51::57 using 2:3 with points lc rgb '#8044AA99' pt 4 ps 0.8 title 'block_minifloat', \
     'pareto.tsv' every ::58::66 using 2:3 with points lc rgb '#80EE7733' pt 8 ps 0.8 title 'block_log', \
     'pareto.tsv' every ::67::67 using 2:3 with points lc rgb '#80AA4499' pt 12 ps 0.8 title 'binary', \
     'pareto.tsv' every ::68::69 using 2:3 with points lc rgb '#80999933' pt 10 ps 0.8 title 'binary_residual', \
     'pareto.tsv' every ::70::77 using 2:3 with points lc rgb '#800077BB' pt 2 ps 0.8 title 'mxint_hardware', \
     'pareto.tsv' every ::78::87 using 2:3 with points lc rgb '#80777777' pt 1 ps 0.8 title 'mxfp', \
     'pareto.tsv' every ::88::95 using 2:3 with points lc rgb '#80332288' pt 6 ps 0.8 title 'mxint', \
     'pareto.tsv' every ::96::101 using 2:3 with points lc rgb '#80CC6677' pt 4 ps 0.8 title 'nvfp4', \
     'pareto.tsv' every ::102::111 using 2:3 with points lc rgb '#80117733' pt 8 ps 0.8 title 'scaled_integer', \
     'pareto.tsv' every ::112::117 using 2:3 with points lc rgb '#80DDAA33' pt 12 ps 0.8 title 'binary_scaled', \
     'pareto.tsv' every ::118::124 using 2:3 with points lc rgb '#8088CCEE' pt 10 ps 0.8 title 'ternary', \
     'pareto.tsv' every ::125::125 using 2:3 with points lc rgb '#80882255' pt 2 ps 0.8 title 'binary_scaling', \
     'pareto.tsv' every ::126::132 using 2:3 with steps lc rgb '#BB2222' lw 3 title 'Pareto front', \
     'pareto.tsv' every ::133::134 using 2:3 with lines lc rgb 'black' dt 5 lw 2 title 'float32 (control)'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'pareto.png'
plot 'pareto.tsv' every ::1::1 using 2:3 with points lc rgb '#80332288' pt 7 ps 0.8 title 'none', \
     'pareto.tsv' every ::2::11 using 2:3 with points lc rgb '#80CC6677' pt 5 ps 0.8 title 'integer', \
     'pareto.tsv' every ::12::21 using 2:3 with points lc rgb '#80117733' pt 9 ps 0.8 title 'minifloat_denorm', \
     'pareto.tsv' every ::22::31 using 2:3 with points lc rgb '#80DDAA33' pt 13 ps 0.8 title 'minifloat_ieee', \
     'pareto.tsv' every ::32::40 using 2:3 with points lc rgb '#8088CCEE' pt 11 ps 0.8 title 'log', \
     'pareto.tsv' every ::41::50 using 2:3 with points lc rgb '#80882255' pt 6 ps 0.8 title 'block_fp', \
     'pareto.tsv' every ::51::57 using 2:3 with points lc rgb '#8044AA99' pt 4 ps 0.8 title 'block_minifloat', \
     'pareto.tsv' every ::58::66 using 2:3 with points lc rgb '#80EE7733' pt 8 ps 0.8 title 'block_log', \
     'pareto.tsv' every ::67::67 using 2:3 with points lc rgb '#80AA4499' pt 12 ps 0.8 title 'binary', \
     'pareto.tsv' every ::68::69 using 2:3 with points lc rgb '#80999933' pt 10 ps 0.8 title 'binary_residual', \
     'pareto.tsv' every ::70::77 using 2:3 with points lc rgb '#800077BB' pt 2 ps 0.8 title 'mxint_hardware', \
     'pareto.tsv' every ::78::87 using 2:3 with points lc rgb '#80777777' pt 1 ps 0.8 title 'mxfp', \
     'pareto.tsv' every ::88::95 using 2:3 with points lc rgb '#80332288' pt 6 ps 0.8 title 'mxint', \
     'pareto.tsv' every ::96::101 using 2:3 with points lc rgb '#80CC6677' pt 4 ps 0.8 title 'nvfp4', \
     'pareto.tsv' every ::102::111 using 2:3 with points lc rgb '#80117733' pt 8 ps 0.8 title 'scaled_integer', \
     'pareto.tsv' every ::112::117 using 2:3 with points lc rgb '#80DDAA33' pt 12 ps 0.8 title 'binary_scaled', \
     'pareto.tsv' every ::118::124 using 2:3 with points lc rgb '#8088CCEE' pt 10 ps 0.8 title 'ternary', \
     'pareto.tsv' every ::125::125 using 2:3 with points lc rgb '#80882255' pt 2 ps 0.8 title 'binary_scaling', \
     'pareto.tsv' every ::126::132 using 2:3 with steps lc rgb '#BB2222' lw 3 title 'Pareto front', \
     'pareto.tsv' every ::133::134 using 2:3 with lines lc rgb 'black' dt 5 lw 2 title 'float32 (control)'
