# gnuplot low_bits.gp draws low_bits.svg and low_bits.png from low_bits.tsv
set datafile separator tab
set encoding utf8
set title 'What keeps low bits alive: mean and 95 % interval over 2 seeds' noenhanced
set xlabel 'family and bits a weight' noenhanced
set ylabel 'test accuracy' noenhanced
set key outside right top Left reverse noenhanced
set grid lt 1 lw 1 lc rgb '#E4E4E4'
set border 3
set tics nomirror
set autoscale xfix
set offsets 0, 0, graph 0.05, graph 0.05
set xrange [-0.5:9.5]
set xtics rotate by 35 right noenhanced ('none 32.00' 0, 'integer 2.00' 1, 'integer 3.00' 2, 'integer 4.00' 3, 'integer 8.00' 4, 'block_fp 7.50' 5, 'binary 1.00' 6, 'binary_scaled 1.44' 7, 'ternary 2.44' 8, 'binary_scaling 1.00' 9)
set yrange [0.4175:0.8705]
set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'
set output 'low_bits.svg'
plot 'low_bits.tsv' every ::1::9 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'low_bits.tsv' every ::1::9 using 2:3 with points lc rgb '#332288' pt 7 ps 1.2 title 'plain', \
     'low_bits.tsv' every ::10::19 using 2:3:4:5 with yerrorbars lc rgb '#CC6677' lw 1.5 ps 0 notitle, \
     'low_bits.tsv' every ::10::19 using 2:3 with points lc rgb '#CC6677' pt 5 ps 1.2 title 'float first', \
     'low_bits.tsv' every ::20::29 using 2:3:4:5 with yerrorbars lc rgb '#117733' lw 1.5 ps 0 notitle, \
     'low_bits.tsv' every ::20::29 using 2:3 with points lc rgb '#117733' pt 9 ps 1.2 title 'teacher', \
     'low_bits.tsv' every ::30::31 using 2:4:5 with filledcurves fc rgb 'black' fs transparent solid 0.15 notitle, \
     'low_bits.tsv' every ::30::31 using 2:3 with lines lc rgb 'black' dt 5 lw 2 title 'float, same training'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'low_bits.png'
plot 'low_bits.tsv' every ::1::9 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'low_bits.tsv' every ::1::9 using 2:3 with points lc rgb '#332288' pt 7 ps 1.2 title 'plain', \
     'low_bits.tsv' every ::10::19 using 2:3:4:5 with yerrorbars lc rgb '#CC6677' lw 1.5 ps 0 notitle, \
     'low_bits.tsv' every ::10::19 using 2:3 with points lc rgb '#CC6677' pt 5 ps 1.2 title 'float first', \
     'low_bits.tsv' every ::20::29 using 2:3:4:5 with yerrorbars lc rgb '#117733' lw 1.5 ps 0 notitle, \
     'low_bits.tsv' every ::20::29 using 2:3 with points lc rgb '#117733' pt 9 ps 1.2 title 'teacher', \
     'low_bits.tsv' every ::30::31 using 2:4:5 with filledcurves fc rgb 'black' fs transparent solid 0.15 notitle, \
     'low_bits.tsv' every ::30::31 using 2:3 with lines lc rgb 'black' dt 5 lw 2 title 'float, same training'
