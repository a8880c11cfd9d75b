# gnuplot seeds.gp draws seeds.svg and seeds.png from seeds.tsv
set datafile separator tab
set encoding utf8
set title 'Each winner, trained again with other seeds: mean and 95 % interval' noenhanced
set xlabel 'size of the model in MB, every operand in its number format' noenhanced
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
     'seeds.tsv' every ::1::1 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 1 title 'nas', \
     'seeds.tsv' every ::2::3 using 2:4:5 with filledcurves fc rgb 'black' fs transparent solid 0.15 notitle, \
     'seeds.tsv' every ::2::3 using 2:3 with lines lc rgb 'black' dt 3 lw 2 title '--model tiny'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'seeds.png'
plot 'seeds.tsv' every ::1::1 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'seeds.tsv' every ::1::1 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 1 title 'nas', \
     'seeds.tsv' every ::2::3 using 2:4:5 with filledcurves fc rgb 'black' fs transparent solid 0.15 notitle, \
     'seeds.tsv' every ::2::3 using 2:3 with lines lc rgb 'black' dt 3 lw 2 title '--model tiny'
