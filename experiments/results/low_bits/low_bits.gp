# gnuplot low_bits.gp draws low_bits.svg and low_bits.png from low_bits.tsv
set datafile separator tab
set encoding utf8
set title 'What keeps low bits alive: mean and 95 % interval over 3 seeds' noenhanced
set xlabel 'family and bits a weight' noenhanced
set ylabel 'test accuracy' noenhanced
set key outside right top Left reverse noenhanced
set grid lt 1 lw 1 lc rgb '#E4E4E4'
set border 3
set tics nomirror
set autoscale xfix
set offsets 0, 0, graph 0.05, graph 0.05
set xrange [-0.5:20.5]
set xtics rotate by 35 right noenhanced ('none 32.00' 0, 'integer 2.00' 1, 'integer 3.00' 2, 'integer 4.00' 3, 'integer 8.00' 4, 'minifloat_denorm 8.00' 5, 'minifloat_ieee 8.00' 6, 'log 5.00' 7, 'block_fp 7.50' 8, 'block_minifloat 16.50' 9, 'block_log 4.25' 10, 'binary 1.00' 11, 'binary_residual 1.00' 12, 'mxint_hardware 12.25' 13, 'mxfp 8.25' 14, 'mxint 8.25' 15, 'nvfp4 4.50' 16, 'scaled_integer 8.19' 17, 'binary_scaled 1.19' 18, 'ternary 2.19' 19, 'binary_scaling 1.00' 20)
set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'
set output 'low_bits.svg'
plot 'low_bits.tsv' every ::1::20 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'low_bits.tsv' every ::1::20 using 2:3 with points lc rgb '#332288' pt 7 ps 1.2 title 'plain', \
     'low_bits.tsv' every ::21::41 using 2:3:4:5 with yerrorbars lc rgb '#CC6677' lw 1.5 ps 0 notitle, \
     'low_bits.tsv' every ::21::41 using 2:3 with points lc rgb '#CC6677' pt 5 ps 1.2 title 'float first', \
     'low_bits.tsv' every ::42::62 using 2:3:4:5 with yerrorbars lc rgb '#117733' lw 1.5 ps 0 notitle, \
     'low_bits.tsv' every ::42::62 using 2:3 with points lc rgb '#117733' pt 9 ps 1.2 title 'teacher', \
     'low_bits.tsv' every ::63::64 using 2:4:5 with filledcurves fc rgb 'black' fs transparent solid 0.15 notitle, \
     'low_bits.tsv' every ::63::64 using 2:3 with lines lc rgb 'black' dt 5 lw 2 title 'float, same training'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'low_bits.png'
plot 'low_bits.tsv' every ::1::20 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'low_bits.tsv' every ::1::20 using 2:3 with points lc rgb '#332288' pt 7 ps 1.2 title 'plain', \
     'low_bits.tsv' every ::21::41 using 2:3:4:5 with yerrorbars lc rgb '#CC6677' lw 1.5 ps 0 notitle, \
     'low_bits.tsv' every ::21::41 using 2:3 with points lc rgb '#CC6677' pt 5 ps 1.2 title 'float first', \
     'low_bits.tsv' every ::42::62 using 2:3:4:5 with yerrorbars lc rgb '#117733' lw 1.5 ps 0 notitle, \
     'low_bits.tsv' every ::42::62 using 2:3 with points lc rgb '#117733' pt 9 ps 1.2 title 'teacher', \
     'low_bits.tsv' every ::63::64 using 2:4:5 with filledcurves fc rgb 'black' fs transparent solid 0.15 notitle, \
     'low_bits.tsv' every ::63::64 using 2:3 with lines lc rgb 'black' dt 5 lw 2 title 'float, same training'
