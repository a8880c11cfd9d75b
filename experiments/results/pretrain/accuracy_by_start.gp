# gnuplot accuracy_by_start.gp draws accuracy_by_start.svg and accuracy_by_start.png from accuracy_by_start.tsv
set datafile separator tab
set encoding utf8
set title 'What pretraining and a teacher buy: mean and 95 % interval over 3 seeds' noenhanced
set xlabel 'what fine-tuning starts from' noenhanced
set ylabel 'test accuracy' noenhanced
set key outside right top Left reverse noenhanced
set grid lt 1 lw 1 lc rgb '#E4E4E4'
set border 3
set tics nomirror
set autoscale xfix
set offsets 0, 0, graph 0.05, graph 0.05
set xrange [-0.5:1.5]
set xtics rotate by 35 right noenhanced ('random weights' 0, 'pretrained' 1)
set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'
set output 'accuracy_by_start.svg'
plot 'accuracy_by_start.tsv' every ::1::2 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'accuracy_by_start.tsv' every ::1::2 using 2:3 with points lc rgb '#332288' pt 7 ps 1.2 title 'labels', \
     'accuracy_by_start.tsv' every ::3::4 using 2:3:4:5 with yerrorbars lc rgb '#CC6677' lw 1.5 ps 0 notitle, \
     'accuracy_by_start.tsv' every ::3::4 using 2:3 with points lc rgb '#CC6677' pt 5 ps 1.2 title 'labels and teacher'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'accuracy_by_start.png'
plot 'accuracy_by_start.tsv' every ::1::2 using 2:3:4:5 with yerrorbars lc rgb '#332288' lw 1.5 ps 0 notitle, \
     'accuracy_by_start.tsv' every ::1::2 using 2:3 with points lc rgb '#332288' pt 7 ps 1.2 title 'labels', \
     'accuracy_by_start.tsv' every ::3::4 using 2:3:4:5 with yerrorbars lc rgb '#CC6677' lw 1.5 ps 0 notitle, \
     'accuracy_by_start.tsv' every ::3::4 using 2:3 with points lc rgb '#CC6677' pt 5 ps 1.2 title 'labels and teacher'
