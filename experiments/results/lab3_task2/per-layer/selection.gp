# gnuplot selection.gp draws selection.svg and selection.png from selection.tsv
set datafile separator tab
set encoding utf8
set title 'What selecting on the test split claims, mean and 95 % interval over 17 studies' noenhanced
set xlabel 'trial number' noenhanced
set ylabel 'test accuracy of the best so far' noenhanced
set key outside right top Left reverse noenhanced
set grid lt 1 lw 1 lc rgb '#E4E4E4'
set border 3
set tics nomirror
set autoscale xfix
set offsets 0, 0, graph 0.05, graph 0.05
set yrange [0.79194:0.899253]
set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'
set output 'selection.svg'
plot 'selection.tsv' every ::1::10 using 2:4:5 with filledcurves fc rgb '#332288' fs transparent solid 0.15 notitle, \
     'selection.tsv' every ::1::10 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 1 title 'selected on test: its claim', \
     'selection.tsv' every ::11::20 using 2:4:5 with filledcurves fc rgb '#CC6677' fs transparent solid 0.15 notitle, \
     'selection.tsv' every ::11::20 using 2:3 with linespoints lc rgb '#CC6677' dt 2 lw 2 pt 5 ps 0.8 pi 1 title 'selected on validation', \
     'selection.tsv' every ::21::22 using 2:3 with lines lc rgb 'black' dt 4 lw 2 title 'float32 (control)'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'selection.png'
plot 'selection.tsv' every ::1::10 using 2:4:5 with filledcurves fc rgb '#332288' fs transparent solid 0.15 notitle, \
     'selection.tsv' every ::1::10 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 1 title 'selected on test: its claim', \
     'selection.tsv' every ::11::20 using 2:4:5 with filledcurves fc rgb '#CC6677' fs transparent solid 0.15 notitle, \
     'selection.tsv' every ::11::20 using 2:3 with linespoints lc rgb '#CC6677' dt 2 lw 2 pt 5 ps 0.8 pi 1 title 'selected on validation', \
     'selection.tsv' every ::21::22 using 2:3 with lines lc rgb 'black' dt 4 lw 2 title 'float32 (control)'
