# gnuplot seeds.gp draws seeds.svg and seeds.png from seeds.tsv
set datafile separator tab
set encoding utf8
set title 'Each winner, trained again with other seeds: mean and 95 % interval' noenhanced
set xlabel 'average bits per Linear weight, shared exponents and scales counted' noenhanced
set ylabel 'test accuracy' noenhanced
set key outside right top Left reverse noenhanced
set grid lt 1 lw 1 lc rgb '#E4E4E4'
set border 3
set tics nomirror
set autoscale xfix
set offsets 0, 0, graph 0.05, graph 0.05
set logscale x 2
set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'
set output 'seeds.svg'
plot 'seeds.tsv' every ::1::1 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::1::1 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 1 title 'integer', \
     'seeds.tsv' every ::2::2 using 2:3:4:5 with yerrorbars lc rgb '#CC6677' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::2::2 using 2:3 with linespoints lc rgb '#CC6677' dt 2 lw 2 pt 5 ps 0.8 pi 1 title 'minifloat_denorm', \
     'seeds.tsv' every ::3::3 using 2:3:4:5 with yerrorbars lc rgb '#117733' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::3::3 using 2:3 with linespoints lc rgb '#117733' dt 4 lw 2 pt 9 ps 0.8 pi 1 title 'minifloat_ieee', \
     'seeds.tsv' every ::4::4 using 2:3:4:5 with yerrorbars lc rgb '#DDAA33' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::4::4 using 2:3 with linespoints lc rgb '#DDAA33' dt 1 lw 2 pt 13 ps 0.8 pi 1 title 'log', \
     'seeds.tsv' every ::5::5 using 2:3:4:5 with yerrorbars lc rgb '#88CCEE' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::5::5 using 2:3 with linespoints lc rgb '#88CCEE' dt 2 lw 2 pt 11 ps 0.8 pi 1 title 'block_fp', \
     'seeds.tsv' every ::6::6 using 2:3:4:5 with yerrorbars lc rgb '#882255' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::6::6 using 2:3 with linespoints lc rgb '#882255' dt 4 lw 2 pt 6 ps 0.8 pi 1 title 'block_minifloat', \
     'seeds.tsv' every ::7::7 using 2:3:4:5 with yerrorbars lc rgb '#44AA99' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::7::7 using 2:3 with linespoints lc rgb '#44AA99' dt 1 lw 2 pt 4 ps 0.8 pi 1 title 'block_log', \
     'seeds.tsv' every ::8::8 using 2:3:4:5 with yerrorbars lc rgb '#EE7733' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::8::8 using 2:3 with linespoints lc rgb '#EE7733' dt 2 lw 2 pt 8 ps 0.8 pi 1 title 'binary', \
     'seeds.tsv' every ::9::9 using 2:3:4:5 with yerrorbars lc rgb '#AA4499' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::9::9 using 2:3 with linespoints lc rgb '#AA4499' dt 4 lw 2 pt 12 ps 0.8 pi 1 title 'binary_residual', \
     'seeds.tsv' every ::10::10 using 2:3:4:5 with yerrorbars lc rgb '#999933' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::10::10 using 2:3 with linespoints lc rgb '#999933' dt 1 lw 2 pt 10 ps 0.8 pi 1 title 'mxint_hardware', \
     'seeds.tsv' every ::11::11 using 2:3:4:5 with yerrorbars lc rgb '#0077BB' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::11::11 using 2:3 with linespoints lc rgb '#0077BB' dt 2 lw 2 pt 2 ps 0.8 pi 1 title 'mxfp', \
     'seeds.tsv' every ::12::12 using 2:3:4:5 with yerrorbars lc rgb '#777777' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::12::12 using 2:3 with linespoints lc rgb '#777777' dt 4 lw 2 pt 1 ps 0.8 pi 1 title 'mxint', \
     'seeds.tsv' every ::13::13 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::13::13 using 2:3 with linespoints lc rgb '#332288' dt 2 lw 2 pt 6 ps 0.8 pi 1 title 'nvfp4', \
     'seeds.tsv' every ::14::14 using 2:3:4:5 with yerrorbars lc rgb '#CC6677' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::14::14 using 2:3 with linespoints lc rgb '#CC6677' dt 4 lw 2 pt 4 ps 0.8 pi 1 title 'scaled_integer', \
     'seeds.tsv' every ::15::15 using 2:3:4:5 with yerrorbars lc rgb '#117733' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::15::15 using 2:3 with linespoints lc rgb '#117733' dt 1 lw 2 pt 8 ps 0.8 pi 1 title 'binary_scaled', \
     'seeds.tsv' every ::16::16 using 2:3:4:5 with yerrorbars lc rgb '#DDAA33' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::16::16 using 2:3 with linespoints lc rgb '#DDAA33' dt 2 lw 2 pt 12 ps 0.8 pi 1 title 'ternary', \
     'seeds.tsv' every ::17::17 using 2:3:4:5 with yerrorbars lc rgb '#88CCEE' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::17::17 using 2:3 with linespoints lc rgb '#88CCEE' dt 4 lw 2 pt 10 ps 0.8 pi 1 title 'binary_scaling', \
     'seeds.tsv' every ::18::19 using 2:4:5 with filledcurves fc rgb 'black' fs transparent solid 0.15 notitle, \
     'seeds.tsv' every ::18::19 using 2:3 with lines lc rgb 'black' dt 3 lw 2 title 'float32 (control)'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'seeds.png'
plot 'seeds.tsv' every ::1::1 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::1::1 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 1 title 'integer', \
     'seeds.tsv' every ::2::2 using 2:3:4:5 with yerrorbars lc rgb '#CC6677' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::2::2 using 2:3 with linespoints lc rgb '#CC6677' dt 2 lw 2 pt 5 ps 0.8 pi 1 title 'minifloat_denorm', \
     'seeds.tsv' every ::3::3 using 2:3:4:5 with yerrorbars lc rgb '#117733' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::3::3 using 2:3 with linespoints lc rgb '#117733' dt 4 lw 2 pt 9 ps 0.8 pi 1 title 'minifloat_ieee', \
     'seeds.tsv' every ::4::4 using 2:3:4:5 with yerrorbars lc rgb '#DDAA33' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::4::4 using 2:3 with linespoints lc rgb '#DDAA33' dt 1 lw 2 pt 13 ps 0.8 pi 1 title 'log', \
     'seeds.tsv' every ::5::5 using 2:3:4:5 with yerrorbars lc rgb '#88CCEE' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::5::5 using 2:3 with linespoints lc rgb '#88CCEE' dt 2 lw 2 pt 11 ps 0.8 pi 1 title 'block_fp', \
     'seeds.tsv' every ::6::6 using 2:3:4:5 with yerrorbars lc rgb '#882255' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::6::6 using 2:3 with linespoints lc rgb '#882255' dt 4 lw 2 pt 6 ps 0.8 pi 1 title 'block_minifloat', \
     'seeds.tsv' every ::7::7 using 2:3:4:5 with yerrorbars lc rgb '#44AA99' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::7::7 using 2:3 with linespoints lc rgb '#44AA99' dt 1 lw 2 pt 4 ps 0.8 pi 1 title 'block_log', \
     'seeds.tsv' every ::8::8 using 2:3:4:5 with yerrorbars lc rgb '#EE7733' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::8::8 using 2:3 with linespoints lc rgb '#EE7733' dt 2 lw 2 pt 8 ps 0.8 pi 1 title 'binary', \
     'seeds.tsv' every ::9::9 using 2:3:4:5 with yerrorbars lc rgb '#AA4499' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::9::9 using 2:3 with linespoints lc rgb '#AA4499' dt 4 lw 2 pt 12 ps 0.8 pi 1 title 'binary_residual', \
     'seeds.tsv' every ::10::10 using 2:3:4:5 with yerrorbars lc rgb '#999933' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::10::10 using 2:3 with linespoints lc rgb '#999933' dt 1 lw 2 pt 10 ps 0.8 pi 1 title 'mxint_hardware', \
     'seeds.tsv' every ::11::11 using 2:3:4:5 with yerrorbars lc rgb '#0077BB' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::11::11 using 2:3 with linespoints lc rgb '#0077BB' dt 2 lw 2 pt 2 ps 0.8 pi 1 title 'mxfp', \
     'seeds.tsv' every ::12::12 using 2:3:4:5 with yerrorbars lc rgb '#777777' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::12::12 using 2:3 with linespoints lc rgb '#777777' dt 4 lw 2 pt 1 ps 0.8 pi 1 title 'mxint', \
     'seeds.tsv' every ::13::13 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::13::13 using 2:3 with linespoints lc rgb '#332288' dt 2 lw 2 pt 6 ps 0.8 pi 1 title 'nvfp4', \
     'seeds.tsv' every ::14::14 using 2:3:4:5 with yerrorbars lc rgb '#CC6677' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::14::14 using 2:3 with linespoints lc rgb '#CC6677' dt 4 lw 2 pt 4 ps 0.8 pi 1 title 'scaled_integer', \
     'seeds.tsv' every ::15::15 using 2:3:4:5 with yerrorbars lc rgb '#117733' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::15::15 using 2:3 with linespoints lc rgb '#117733' dt 1 lw 2 pt 8 ps 0.8 pi 1 title 'binary_scaled', \
     'seeds.tsv' every ::16::16 using 2:3:4:5 with yerrorbars lc rgb '#DDAA33' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::16::16 using 2:3 with linespoints lc rgb '#DDAA33' dt 2 lw 2 pt 12 ps 0.8 pi 1 title 'ternary', \
     'seeds.tsv' every ::17::17 using 2:3:4:5 with yerrorbars lc rgb '#88CCEE' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::17::17 using 2:3 with linespoints lc rgb '#88CCEE' dt 4 lw 2 pt 10 ps 0.8 pi 1 title 'binary_scaling', \
     'seeds.tsv' every ::18::19 using 2:4:5 with filledcurves fc rgb 'black' fs transparent solid 0.15 notitle, \
     'seeds.tsv' every ::18::19 using 2:3 with lines lc rgb 'black' dt 3 lw 2 title 'float32 (control)'
